"""What announces a part: time, a line on standard input, an HTTP request or a PLC."""
