"""Modbus TCP on one connection: requests in, replies out, one after the other.

The requests are read from the stream here, and pymodbus decodes, checks and encodes them. Its own server is not used:
version 3.16 loses every request that comes before the one ahead of it was answered, as some PLCs send them
(docs/decisions/0009-modbus-server.md).
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any, cast

from pymodbus.constants import ExcCodes
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU

from nut_runtime.plc.device import PlcDevice, Table

__all__ = ["MalformedError", "serve"]

_HEADER = struct.Struct(">HHHB")  # transaction, protocol (0), bytes that follow the length, unit
_LENGTHS = range(2, 255)  # unit and function at least; a request has 253 bytes at most, after the unit
_COIL_VALUES = (b"\xff\x00", b"\x00\x00")

_TABLES = {
    **dict.fromkeys((1, 5, 15), Table.COILS),
    2: Table.DISCRETE_INPUTS,
    **dict.fromkeys((3, 6, 16, 22, 23), Table.HOLDING_REGISTERS),
    4: Table.INPUT_REGISTERS,
}
"""By function code. Diagnostics, files and the like are refused: pymodbus would act on some of them."""
_REQUEST_BYTES = dict.fromkeys(range(1, 7), 5) | {22: 7}
_WRITE_COIL = 5


class MalformedError(Exception):
    """What comes on the connection is not Modbus, and where the next request begins cannot be known."""


async def serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, device: PlcDevice, *, heard: Callable[[], None]
) -> None:
    """Answer requests in their order until the client goes.

    The unit is not looked at, and repeated in the reply, as usual with devices that have an address of their own.

    Args:
        reader: What the client sends.
        writer: What it is sent.
        device: The registers.
        heard: Called for each request.

    Raises:
        MalformedError: If something else than Modbus comes.
        asyncio.IncompleteReadError: If the client goes, between two requests or in one.
        OSError: If the connection breaks.
    """
    decoder, registers = DecodePDU(True), _Registers(device)  # noqa: FBT003 - its own signature; it means "server"
    while True:
        transaction, protocol, length, unit = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if protocol or length not in _LENGTHS:
            raise MalformedError
        request = await reader.readexactly(length - 1)
        heard()
        reply = await _reply(decoder, registers, request)
        body = bytes([reply.function_code]) + reply.encode()
        writer.write(_HEADER.pack(transaction, 0, len(body) + 1, unit) + body)
        await writer.drain()  # waits where the client does not read, so that no replies pile up
        await asyncio.sleep(0)  # lets the other connections in where this one sends without a pause


async def _reply(decoder: DecodePDU, registers: "_Registers", request: bytes) -> ModbusPDU:
    function = request[0]
    if function not in _TABLES:
        return ExceptionResponse(function, ExcCodes.ILLEGAL_FUNCTION)
    if len(request) != _REQUEST_BYTES.get(function, len(request)) or (
        function == _WRITE_COIL and request[3:] not in _COIL_VALUES
    ):
        return ExceptionResponse(function, ExcCodes.ILLEGAL_VALUE)
    asked = decoder.decode(request)
    if asked is None:
        return ExceptionResponse(function, ExcCodes.ILLEGAL_VALUE)
    return await asked.datastore_update(cast("Any", registers), 0)


class _Registers:
    """The device as pymodbus's requests read and write it; the names are theirs."""

    def __init__(self, device: PlcDevice) -> None:
        self._device = device

    async def async_getValues(  # noqa: N802 - pymodbus calls it so
        self, _unit: int, function: int, address: int, count: int = 1
    ) -> list[int] | ExcCodes:
        values = self._device.read(_TABLES[function], address, count)
        return ExcCodes.ILLEGAL_ADDRESS if values is None else values

    async def async_setValues(  # noqa: N802 - pymodbus calls it so
        self, _unit: int, function: int, address: int, values: Sequence[int]
    ) -> ExcCodes | None:
        return None if self._device.write(_TABLES[function], address, values) else ExcCodes.ILLEGAL_ADDRESS
