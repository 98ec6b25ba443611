"""Python client of a CyberImage server.

    import cyberimage

    client = cyberimage.Client("http://127.0.0.1:5050")
    job = client.wait(client.generate_image("a red fox in the snow"))
    open("fox.png", "wb").write(client.get_image(job.images[0]))

The functions of this module do the same with the server of $CYBERIMAGE_URL and the key of $CYBERIMAGE_TOKEN.
"""

from cyberimage.async_client import AsyncClient
from cyberimage.client import Client
from cyberimage.errors import Error, JobFailed, Refused, Unreachable, WaitTimeout
from cyberimage.functions import generate_image, get_image, get_job_status, process_queue
from cyberimage.models import Event, Image, Job

__all__ = [
    "AsyncClient",
    "Client",
    "Error",
    "Event",
    "Image",
    "Job",
    "JobFailed",
    "Refused",
    "Unreachable",
    "WaitTimeout",
    "generate_image",
    "get_image",
    "get_job_status",
    "process_queue",
]
