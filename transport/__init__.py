"""How one request crosses to the server and comes back as an outcome, over any of the wires that docs/wires.md names.

`message` is the interface: a request, an outcome, and the connection between them. `connect` opens a connection by the
name of its transport, `reach` finds out before a run what a transport must know of a server. Each transport is a module
with a class `Connection`:

    http            Triton's binary form over a socket; http_head writes, http_answer reads, tls encrypts
    grpc            `ModelInfer` over gRPC's C core
    shared_memory   HTTP that names places in shared memory; regions makes them
    json_text       numbers as text, or base64
    gateway         HTTP to a gateway in place of a server
    in_process      no wire: the client computes the network itself

`answer_check` and `outputs` judge and read the tensors of an answer, whichever transport brought it. Nothing here knows
when a request is due, or what its outcome is for: `loadgen`, `crossover` and `benchmarks` do.
"""
