"""The channel without the worker module, for interpreters that can't load it (before 3.10, free-threaded builds).

It moves the same messages and frames but closes no wall: such an interpreter serves one call per confined process, behind the
launcher's walls only, and the host says so.
"""

import array
import os
import resource
import socket


class PlainChannel:
    """Same operations as `pegboard_worker`, in plain Python."""

    confines = False

    @staticmethod
    def open_pair():
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        return ours.detach(), theirs.detach()

    @staticmethod
    def send_message(descriptor, message, fds):
        control = socket.socket(fileno=descriptor)
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            control.sendmsg([message], rights)
        finally:
            control.detach()

    @staticmethod
    def receive_message(descriptor, limit):
        control = socket.socket(fileno=descriptor)
        try:
            return control.recv(limit) or None
        finally:
            control.detach()

    @classmethod
    def read_frame(cls, descriptor, limit):
        header = cls._read(descriptor, 4)
        if header is None:
            return None
        length = int.from_bytes(header, "little")
        if length > limit:
            raise ValueError("a frame is larger than its limit")
        return cls._read(descriptor, length)

    @staticmethod
    def _read(descriptor, length):
        data = bytearray()
        while len(data) < length:
            part = os.read(descriptor, length - len(data))
            if not part:
                if data:
                    raise ValueError("the stream ended inside a frame")
                return None
            data += part
        return bytes(data)

    @staticmethod
    def write_frame(descriptor, payload):
        data = memoryview(len(payload).to_bytes(4, "little") + payload)
        while data:
            data = data[os.write(descriptor, data):]

    @staticmethod
    def enter_call(limits, readable, writable, parent, may_fork):
        for number, value in limits:
            _, hard = resource.getrlimit(number)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))

    @staticmethod
    def usage():
        used = resource.getrusage(resource.RUSAGE_SELF)
        return int((used.ru_utime + used.ru_stime) * 1e6), used.ru_maxrss
