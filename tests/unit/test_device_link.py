"""The adb handshake and one stream against a scripted peer: what a modern phone, an old one and a stranger say."""

from __future__ import annotations

import io
import socket
import struct
import threading
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashneuron.device import adb_sync
from flashneuron.device.shell_frames import FrameDecoder
from flashneuron.device.tcp_link import TcpLink, connect_tcp
from flashneuron.device.wire import LoadSigners, Timeouts, Wire
from flashneuron.errors import DeviceError, LinkLost

BANNER = b"device::ro.product.name=x;features=shell_v2,stat_v2"
CNXN = (b"CNXN", 0x01000001, 1 << 20, BANNER)


def packet(command: bytes, arg0: int, arg1: int, data: bytes = b"", summed: bool = False) -> bytes:
    code = int.from_bytes(command, "little")
    return struct.pack("<6I", code, arg0, arg1, len(data), sum(data) if summed else 0, code ^ 0xFFFFFFFF) + data


class Peer:
    """A transport whose other end says `packets`, in pieces of three bytes, and then closes."""

    def __init__(self, *packets: tuple[bytes, int, int, bytes], summed: bool = False) -> None:
        self.incoming = b"".join(packet(*each, summed) for each in packets)
        self.sent = bytearray()

    def connect(self, transport_timeout_s: float | None) -> None:
        pass

    def close(self) -> None:
        pass

    def cut(self) -> None:
        pass

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        size = min(numbytes, 3)
        data, self.incoming = self.incoming[:size], self.incoming[size:]
        if not data:
            raise ConnectionResetError("it closed the connection")
        return data

    def bulk_write(self, data: bytes | bytearray | memoryview, transport_timeout_s: float | None) -> int:
        self.sent += data
        return len(data)

    def commands(self) -> list[bytes]:
        """What the link has sent."""
        commands, rest = [], bytes(self.sent)
        while rest:
            commands.append(rest[:4])
            rest = rest[24 + struct.unpack_from("<I", rest, 12)[0] :]
        return commands


def link_to(peer: Peer, load_signers: LoadSigners = tuple) -> TcpLink:
    return TcpLink(Wire(peer, "phone", load_signers), "phone")


class Key:
    def Sign(self, data: bytes) -> bytes:
        return b"signed " + data

    def GetPublicKey(self) -> str:
        return "public key"


def test_a_stream_is_read_to_its_end() -> None:
    peer = Peer(CNXN, (b"OKAY", 7, 1, b""), (b"WRTE", 7, 1, b"hello"), (b"CLSE", 9, 4, b""), (b"CLSE", 7, 1, b""))
    link = link_to(peer)
    link.open(b"shell,v2,raw:true")
    assert (link.read(None), link.read(None), link.read(None)) == (b"hello", None, None)
    assert peer.commands() == [b"CNXN", b"OPEN", b"OKAY"]


def test_data_for_nobody_means_that_a_packet_was_damaged() -> None:
    link = link_to(Peer(CNXN, (b"OKAY", 7, 1, b""), (b"WRTE", 7, 3, b"hello")))
    link.open(b"x")
    with pytest.raises(LinkLost, match="it sent data for nobody"):
        link.read(None)


class Mute(Peer):
    """Says `packets`, and then nothing but refusals of what it is asked, or nothing at all."""

    def __init__(self, *packets: tuple[bytes, int, int, bytes], answers: bool) -> None:
        super().__init__(*packets)
        self._answers = answers

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        asked = self.commands().count(b"OPEN") - 1
        if not self.incoming and self._answers and asked > 0:
            self.incoming = packet(b"CLSE", 0, 2)
        if not self.incoming:
            raise TimeoutError("no answer")
        return super().bulk_read(numbytes, transport_timeout_s)


@pytest.mark.parametrize(
    ("answers", "says"), [(False, "it has not answered for 0.02 s"), (True, "the stream has been silent for 0.05 s")]
)
def test_a_stream_that_is_silent_for_ever_is_found_out(answers: bool, says: str) -> None:
    quick = Timeouts(silence=0.01, longest=0.05)
    peer = Mute(CNXN, (b"OKAY", 7, 1, b""), answers=answers)
    link = TcpLink(Wire(peer, "phone", tuple, quick), "phone")
    link.open(b"x")
    with pytest.raises(LinkLost, match=says):
        link.read(None)


def test_a_known_key_signs_in() -> None:
    peer = Peer((b"AUTH", 1, 0, b"token"), CNXN)
    link_to(peer, lambda: [Key()])
    assert peer.commands() == [b"CNXN", b"AUTH"]
    assert b"signed token" in peer.sent


def test_an_unknown_key_is_offered_for_confirmation() -> None:
    peer = Peer((b"AUTH", 1, 0, b"token"), (b"AUTH", 1, 0, b"again"), CNXN)
    link_to(peer, lambda: [Key()])
    assert bytes(peer.sent).endswith(b"public key\0")


def test_a_device_that_asks_for_no_key_gets_none_made() -> None:
    def load() -> list[Key]:
        raise AssertionError("asked for keys")

    link_to(Peer(CNXN), load)


@pytest.mark.parametrize(
    ("packets", "says"),
    [
        ([], "phone went away .it closed the connection."),
        ([(b"AUTH", 1, 0, b"token")], "went away|does not accept"),
        ([(b"STLS", 0x01000000, 0, b"")], "wants a paired connection .*; 'adb pair' and 'adb connect' it"),
        ([CNXN, (b"CLSE", 0, 1, b"")], "refuses the service sync"),
        ([CNXN, (b"OKAY", 7, 1, b"")], "went away"),
    ],
)
def test_what_goes_wrong_is_one_clear_line(packets: list[tuple[bytes, int, int, bytes]], says: str) -> None:
    def use() -> None:
        link = link_to(Peer(*packets))
        link.open(b"sync:")
        link.read(None)

    with pytest.raises(DeviceError, match=says) as caught:
        use()
    assert "\n" not in str(caught.value)


def test_a_stranger_is_told_apart() -> None:
    peer = Peer()
    peer.incoming = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(DeviceError, match="does not speak adb"):
        link_to(peer)


def test_an_old_peer_gets_sums_and_small_pieces_and_its_sums_are_checked() -> None:
    old = (b"CNXN", 0x01000000, 4096, b"device::ro.product.name=x")
    okay = (b"OKAY", 7, 1, b"")
    peer = Peer(old, okay, okay, (b"WRTE", 7, 1, b"hello"), summed=True)
    link = link_to(peer)
    assert (link.max_data, link.features) == (4096, frozenset())
    link.open(b"exec:x")
    link.write(b"abc", None)
    assert peer.sent.endswith(packet(b"WRTE", 1, 7, b"abc", summed=True))
    assert link.read(None) == b"hello"

    peer = Peer(old, okay, (b"WRTE", 7, 1, b"hello"), summed=True)
    peer.incoming = peer.incoming.replace(b"hello", b"hallo")
    link = link_to(peer)
    link.open(b"exec:x")
    with pytest.raises(LinkLost, match="a packet came damaged"):
        link.read(None)


def test_a_peer_that_sums_nothing_is_sent_no_sums() -> None:
    peer = Peer(CNXN, (b"OKAY", 7, 1, b""))
    link = link_to(peer)
    link.open(b"x")
    assert (link.max_data, link.features) == (1 << 20, {"shell_v2", "stat_v2"})
    assert peer.sent.endswith(packet(b"OPEN", 1, 0, b"x\0"))


def test_fewer_bytes_than_the_file_has_are_an_error() -> None:
    okay = (b"OKAY", 7, 1, b"")
    size = struct.pack("<IQQ4IQ3q", 0, 0, 0, 0o100644, 1, 0, 0, 5, 0, 0, 0)
    answer = (b"WRTE", 7, 1, b"DATA\4\0\0\0abcdDONE\0\0\0\0")
    link = link_to(Peer(CNXN, okay, okay, (b"WRTE", 7, 1, b"STA2" + size), okay, answer))
    with pytest.raises(DeviceError, match="/x on the device has 5 bytes, 4 came"):
        list(adb_sync.receive(link, PurePosixPath("/x")))


@pytest.mark.parametrize("after", [b"OKAY", b"CLSE"])  # some hang up on what they refuse
def test_a_disk_that_fills_in_mid_push_is_told_in_the_devices_words(after: bytes) -> None:
    reason = b"couldn't write file: No space left on device"
    okay = (b"OKAY", 7, 1, b"")
    fail = (b"WRTE", 7, 1, b"FAIL" + len(reason).to_bytes(4, "little") + reason)
    link = link_to(Peer(CNXN, okay, okay, fail, (after, 7, 1, b"")))
    with pytest.raises(DeviceError, match=r"cannot write /data/x on the device: .*No space left on device"):
        adb_sync.send(link, io.BytesIO(bytes(1 << 22)), PurePosixPath("/data/x"), 0o644, 0, None)


@pytest.mark.parametrize(("hang_ups", "pauses"), [(0, 0), (2, 2), (4, 3)])
def test_a_device_that_hangs_up_in_the_handshake_is_asked_again(hang_ups: int, pauses: int) -> None:
    waited: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for attempt in range(min(hang_ups + 1, 4)):
                connection, _ = listener.accept()
                with connection:
                    if attempt == hang_ups:
                        connection.sendall(packet(*CNXN))
                        connection.recv(4096)

        server = threading.Thread(target=serve)
        server.start()
        port = listener.getsockname()[1]
        try:
            link = connect_tcp("127.0.0.1", port, "phone", sleep=waited.append)
        except LinkLost:
            assert hang_ups > pauses
        else:
            assert link.features == {"shell_v2", "stat_v2"}
            link.close()
        server.join()
    assert len(waited) == pauses


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=40))), st.lists(st.integers(1, 20)))
def test_frames_come_out_however_they_are_chopped(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(struct.pack("<BI", kind, len(payload)) + payload for kind, payload in frames)
    decoder, seen = FrameDecoder(), []
    for cut in [*cuts, len(stream)]:
        seen += decoder.feed(stream[:cut])
        stream = stream[cut:]
    assert seen == frames
