"""The Modbus TCP server that a PLC triggers parts with and reads verdicts from (docs/plc.md)."""
