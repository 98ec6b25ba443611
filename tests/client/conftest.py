from tests.client.served import empty_database, engine, harness, idle_url, new_harness, url

__all__ = ["empty_database", "engine", "harness", "idle_url", "new_harness", "url"]
