"""What the soak asks a station, and takes for no answer."""

import socket
import threading

from nut_benchmarks.soak.station_process import StationProcess


def test_a_station_that_dies_within_its_answer_has_given_none():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 461\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert StationProcess.trigger(server.getsockname()[1], "part-1") is None
        thread.join()
