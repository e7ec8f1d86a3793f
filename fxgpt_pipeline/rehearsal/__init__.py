"""The living system on simulated markets and its own clock: its real schedules, sensors and jobs, tick by tick."""
