"""The proxies of deploy/proxies before two real API processes; `python -m tests.e2e.proxies` restarts those under
load."""
