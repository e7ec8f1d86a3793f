"""Where volume was traded by price over a window, and what the close's place in it is."""
