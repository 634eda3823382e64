"""What browsers answer for passkeys: `PublicKeyCredential.toJSON()` (WebAuthn Level 3, section 5.1), bounded."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from operalta.web.api.models import Body

_ENCODED = r"^[A-Za-z0-9_-]*={0,2}$"
CredentialName = Annotated[str, Field(min_length=1, max_length=1_400, pattern=_ENCODED)]
Encoded = Annotated[str, Field(max_length=8_000, pattern=_ENCODED)]
Transport = Annotated[str, Field(max_length=40)]


class _Answer(Body):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=False)

    def as_given(self) -> dict[str, Any]:
        """Return it in the browser's own words."""
        return self.model_dump(by_alias=True, exclude_none=True)


class CredentialProperties(_Answer):
    """Whether the passkey can be found without being named."""

    rk: bool | None = None


class ExtensionResults(_Answer):
    """What extensions answered; none is asked."""

    cred_props: CredentialProperties | None = None


class CreatedAnswer(_Answer):
    """What an authenticator answered that has made a passkey."""

    client_data_json: Annotated[Encoded, Field(alias="clientDataJSON")]
    attestation_object: Encoded
    authenticator_data: Encoded | None = None
    public_key: Encoded | None = None
    public_key_algorithm: Annotated[int, Field(ge=-70_000, le=0)] | None = None
    transports: Annotated[tuple[Transport, ...], Field(max_length=10)] = ()


class SignedAnswer(_Answer):
    """What an authenticator answered that has signed a challenge."""

    client_data_json: Annotated[Encoded, Field(alias="clientDataJSON")]
    authenticator_data: Encoded
    signature: Encoded
    user_handle: Encoded | None = None


class _Credential(_Answer):
    id: CredentialName
    raw_id: CredentialName
    type: Literal["public-key"]
    authenticator_attachment: Annotated[str, Field(max_length=40)] | None = None
    client_extension_results: ExtensionResults = ExtensionResults()


class CreatedCredential(_Credential):
    """A passkey that was just made."""

    response: CreatedAnswer


class SignedCredential(_Credential):
    """A passkey that signed a challenge."""

    response: SignedAnswer
