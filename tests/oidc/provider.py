#!/usr/bin/env python3
"""The provider, oidc-provider-mock, which has no setting for PKCE, with Authlib's own check of it in place.

The arguments are those of `oidc-provider-mock`. A code is given only for a challenge by S256, and only for its verifier exchanged.
"""

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from authlib.oauth2.rfc7636 import CodeChallenge
from oidc_provider_mock import _app
from oidc_provider_mock.__main__ import run

# By code; its records of codes have no place for it.
challenges = {}


class Required(CodeChallenge):
    """Authlib lets clients with a secret do without a challenge, and takes `plain`."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]
    DEFAULT_CODE_CHALLENGE_METHOD = "S256"

    def validate_code_challenge(self, grant, redirect_uri):
        asked = grant.request.payload.data
        if not asked.get("code_challenge") or asked.get("code_challenge_method") != "S256":
            raise InvalidRequestError("a 'code_challenge' by S256 is required")
        super().validate_code_challenge(grant, redirect_uri)

    def get_authorization_code_challenge(self, authorization_code):
        return challenges[authorization_code.code]

    def get_authorization_code_challenge_method(self, authorization_code):
        return "S256"


class Grant(_app.AuthorizationCodeGrant):
    def __init__(self, *args):
        super().__init__(*args)
        Required()(self)

    def save_authorization_code(self, code, request):
        super().save_authorization_code(code, request)
        challenges[code] = request.payload.data["code_challenge"]


_app.AuthorizationCodeGrant = Grant
run()
