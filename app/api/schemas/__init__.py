"""What the answers look like, for the OpenAPI document. `app.api.shapes` builds them; a test holds the two together."""
