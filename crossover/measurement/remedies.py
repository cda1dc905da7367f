"""What users of `crossover` can change where a measurement is INVALID: its client is one process, on its own cores."""

QUIETER = "measure on a quieter machine, or offer fewer arrivals"

REMEDIES = {
    "in-flight cap": "offer fewer arrivals",
    "offered rate": QUIETER,
    "dispatch lag": QUIETER,
    "client CPU": "give the server fewer cores (`crossover up --cores`), or offer fewer arrivals",
    "hub stall": "keep other programs off the client's cores",
    "too few samples": "give more --seconds",
}
"""Rule of loadgen.samples.validity -> what to change; other rules say it themselves."""
