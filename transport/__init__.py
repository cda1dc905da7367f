"""How a request reaches the server: `message` is the interface, `http` the implementation."""
