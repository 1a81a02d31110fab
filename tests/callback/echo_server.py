"""A WebSocket server that says which URL it was asked for, then everything that it hears. Prints its address."""

from websockets.sync.server import serve


def echo(socket):
    socket.send(socket.request.path)
    for message in socket:
        socket.send(message)


with serve(echo, "127.0.0.1", 0) as server:
    print(f"http://127.0.0.1:{server.socket.getsockname()[1]}", flush=True)
    server.serve_forever()
