"""How a schedule is sent: loops that decide when, threads that preprocess and wait for answers."""
