"""Who is speaking: local accounts now, OIDC and passkeys later."""
