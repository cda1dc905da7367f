"""Whether an ensemble answers as many requests as its steps allow."""
