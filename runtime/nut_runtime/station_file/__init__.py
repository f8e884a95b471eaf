"""The station file: every part of a station in one TOML file."""
