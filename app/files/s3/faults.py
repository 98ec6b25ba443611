"""Classifies what goes wrong with an S3 service: will it pass, is the object missing, or is the store set up wrongly?

One table for all calls. It reads status and code of answers and the names of botocore's exceptions, so that it needs no
botocore.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    PASSING = "passing"  # the service is away, slow or overloaded, or the connection broke: worth another try
    MISSING = "missing"  # there is no such object
    FULL = "full"  # there is no room
    DAMAGED = "damaged"  # an object is not what was stored
    WRONG = "wrong"  # the bucket, the key or the certificate are not as they must be: another try will not help


@dataclass(frozen=True)
class Fault:
    """`sentence` completes "the media store …", and names nothing secret."""

    kind: Kind
    sentence: str


class S3Failure(Exception):
    """A call failed for good, as `fault` says."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.sentence)


_MISSING = ("NoSuchKey", "NotFound", "404")
_FULL = ("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "507")
_DENIED = "refuses the access key, or it may not do this; check AWS_ACCESS_KEY_ID and the rights of that key"
_REGION = "has the bucket in another region or at another address; check S3_REGION and S3_ENDPOINT_URL"
_WRONG = {
    "NoSuchBucket": "has no such bucket; create it, or correct MEDIA_STORE",
    "InvalidBucketName": "has no such bucket; correct MEDIA_STORE",
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "RequestTimeTooSkewed": "says that the clock of this machine is wrong; set it right",
    **dict.fromkeys(
        (
            *("AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "401", "InvalidAccessKeyId"),
            *("SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "UnauthorizedAccess"),
        ),
        _DENIED,
    ),
}
# Not 5xx, but worth another try: too slow, too much at once, or changed on the way.
_PASSING = frozenset(
    (
        *("RequestTimeout", "RequestTimeoutException", "SlowDown", "TooManyRequests", "Throttling", "OperationAborted"),
        *("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"),
        *("ConditionalRequestConflict", "408", "429"),
    )
)
_NO_KEYS = "has no access key to be used; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_EXCEPTIONS = {  # botocore's, by name; None: not an answer of the service, and no fault of it
    "NoCredentialsError": Fault(Kind.WRONG, _NO_KEYS),
    "PartialCredentialsError": Fault(Kind.WRONG, _NO_KEYS),
    "ProfileNotFound": Fault(Kind.WRONG, "cannot be used: AWS_PROFILE names no profile"),
    "SSLError": Fault(Kind.WRONG, "has a certificate that this machine does not trust; check S3_ENDPOINT_URL"),
    **dict.fromkeys(
        ("SSOError", "TokenRetrievalError"), Fault(Kind.PASSING, "cannot be asked: the access key could not be fetched")
    ),
    "CredentialRetrievalError": Fault(Kind.PASSING, "cannot be asked: the access key could not be fetched"),
    "MetadataRetrievalError": Fault(Kind.PASSING, "cannot be asked: the access key could not be fetched"),
    "EndpointConnectionError": Fault(Kind.PASSING, "cannot be reached"),
    "ConnectTimeoutError": Fault(Kind.PASSING, "cannot be reached"),
    "ProxyConnectionError": Fault(Kind.PASSING, "cannot be reached by the proxy"),
    "ReadTimeoutError": Fault(Kind.PASSING, "does not answer in time"),
    "ConnectionClosedError": Fault(Kind.PASSING, "broke the connection"),
    "IncompleteReadError": Fault(Kind.PASSING, "broke the connection"),
    "ResponseStreamingError": Fault(Kind.PASSING, "broke the connection"),
    "ResponseParserError": Fault(Kind.PASSING, "answers what cannot be read"),
    "HTTPClientError": Fault(Kind.PASSING, "broke the connection"),
}


def fault_of(error: Exception) -> Fault | None:
    """What is wrong, for an exception of botocore; None for any other."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return _fault_of_answer(response)
    names = [each.__name__ for each in type(error).__mro__]
    if known := next((_EXCEPTIONS[name] for name in names if name in _EXCEPTIONS), None):
        return known
    if not type(error).__module__.startswith("botocore"):
        return None
    return Fault(Kind.WRONG, f"cannot be used as it is set up ({names[0]})")


def _fault_of_answer(response: dict[str, Any]) -> Fault:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    known = (code, str(status))
    if any(each in _FULL for each in known):
        return Fault(Kind.FULL, "is full; free some space there, or raise its quota")
    if (wrong := next((_WRONG[each] for each in known if each in _WRONG and code not in _MISSING), None)) is not None:
        return Fault(Kind.WRONG, wrong)
    if any(each in _MISSING for each in known):
        return Fault(Kind.MISSING, "has no such file")
    if status >= 500 or any(each in _PASSING for each in known):
        return Fault(Kind.PASSING, f"answers {status} {code}".rstrip())
    return Fault(Kind.WRONG, f"refuses this with {status} {code}".rstrip())
