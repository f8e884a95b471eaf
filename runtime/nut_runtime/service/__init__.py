"""The station as a service of the operating system: its unit, its commands, and the word it keeps with systemd."""
