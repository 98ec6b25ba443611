"""Response schemas for the OpenAPI document. `serializers` builds the responses; a test holds the two together."""
