"""Response bodies: each class documents a response in the OpenAPI document and makes it, from the domain object.

Those of jobs are in `app.services.job_body`, since webhooks send them too.
"""
