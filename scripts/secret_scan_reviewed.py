"""What looks like a secret in the history and is none: digests of the texts, each with the reason, after a review."""

REVIEWED: dict[str, str] = {
    "0c5d5f43a024c061": "A made-up password in a URL, by which a test looks for it where it must not show.",
    "96ad2ccd81462a76": "The secret of the published test vector of Standard Webhooks.",
    "b75b147312eec7cf": "A made-up secret that counts from 0 to f, which a test gives to an address for messages.",
    "b9c950640e1b3740": "A made-up password in a URL, by which a test looks for it where it must not show.",
}
