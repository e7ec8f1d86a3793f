"""Which clock wrote the stamps of files, told from the files themselves."""
