"""The queue beside huey and raw commits, and with a million jobs behind it."""
