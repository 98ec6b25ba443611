from tests.client.served import engine, harness, idle_url, new_harness, url

__all__ = ["engine", "harness", "idle_url", "new_harness", "url"]
