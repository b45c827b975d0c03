"""Answers each request a tenth of a second later, and counts the answers: `GET /count` tells how
many requests came. Prints its port; ends when killed."""

import asyncio
import json

SECONDS = 0.1


class Counting:
    def __init__(self) -> None:
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = 0
                for line in head.lower().split("\r\n"):
                    if line.startswith("content-length:"):
                        length = int(line.split(":")[1])
                await reader.readexactly(length)
                if head.startswith("GET /count"):
                    body = json.dumps({"requests": self.requests})
                else:
                    self.requests += 1
                    await asyncio.sleep(SECONDS)
                    body = json.dumps({"answer": "an answer"})
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n%s" % (len(body), body.encode())
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


async def main() -> None:
    server = await asyncio.start_server(Counting().serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
