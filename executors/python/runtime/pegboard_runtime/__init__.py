"""What runs inside the sandbox: the zygote, the call loop and the contracts. Nothing of the host is importable from here."""
