"""Bluetooth LE without radios, by Bumble: controllers that hear each other, each with HCI (H4) on a TCP port of loopback, and a
gateway of another make, driven line by line over standard input. Prints one JSON document a line, the first with the ports."""

import asyncio
import json
import socket
import sys

from bumble.controller import Controller
from bumble.device import Device, Peer
from bumble.hci import Address, LeFeatureMask
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink
from bumble.transport.tcp_server import open_tcp_server_transport_with_socket

SERVICE = "3b7d0001-6e5a-4c0e-9f42-74696e796f70"
DOWN = "3b7d0002-6e5a-4c0e-9f42-74696e796f70"
UP = "3b7d0003-6e5a-4c0e-9f42-74696e796f70"
RADIOS = 3


def say(**document):
    print(json.dumps(document), flush=True)


class Other:
    """A gateway that is not ours."""

    def __init__(self, link):
        controller = Controller("other", link=link)
        host = Host(controller, AsyncPipeSink(controller))
        controller.host = host
        self.device = Device(address=Address("F0:F1:F2:F3:F4:F5"), host=host)
        self.connection = self.down = self.up = None
        self.heard = bytearray()

    async def connect(self, address):
        self.connection = await self.device.connect(address, timeout=60)
        self.peer = Peer(self.connection)
        return {}

    async def mtu(self, mtu):
        return {"mtu": await self.peer.request_mtu(int(mtu))}

    async def meet(self):
        (service,) = await self.peer.discover_service(SERVICE)
        await service.discover_characteristics()
        (self.down,) = service.get_characteristics_by_uuid(DOWN)
        (self.up,) = service.get_characteristics_by_uuid(UP)
        await self.up.discover_descriptors()
        return {"attributes": len(service.characteristics)}

    async def listen(self):
        self.heard.clear()
        await self.up.subscribe(self.heard.extend)
        return {}

    async def write(self, *pieces):
        for piece in pieces:
            await self.down.write_value(bytes.fromhex(piece), with_response=False)
        return {}

    async def ask(self, piece):
        await self.down.write_value(bytes.fromhex(piece), with_response=True)
        return {}

    async def hear(self, count):
        while len(self.heard) < int(count):
            await asyncio.sleep(0.01)
        return {"heard": self.heard.hex()}

    async def leave(self):
        await self.connection.disconnect()
        return {}

    async def raw(self, pdu=""):
        """Sends bytes on the attribute protocol's channel that no client would."""
        self.connection.send_l2cap_pdu(4, bytes.fromhex(pdu))
        return {}


async def main():
    link = LocalLink()
    radios, kept = [], []
    for number in range(RADIOS):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        radios.append("127.0.0.1:%d" % listener.getsockname()[1])
        transport = await open_tcp_server_transport_with_socket(listener)
        controller = Controller(
            "radio", transport.source, transport.sink, link=link, public_address="00:00:00:00:00:0%d" % (number + 1)
        )
        controller.le_acl_data_packet_length = 251
        # One that has it answers scans of the old kind with reports of the new one, which no controller does.
        controller.le_features &= ~LeFeatureMask.LE_EXTENDED_ADVERTISING
        kept.append((transport, controller))
    other = Other(link)
    await other.device.power_on()
    say(radios=radios)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        verb, *words = line.decode().split()
        try:
            say(**await asyncio.wait_for(getattr(other, verb)(*words), 90))
        except Exception as error:  # pylint: disable=broad-except
            say(error=f"{type(error).__name__}: {error}")


asyncio.run(main())
