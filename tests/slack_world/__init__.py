"""A Slack that lives on this machine: workspaces, people, channels, the Web API, both ways of delivery.

`python -m tests.slack_world --port 8600` runs it as a process of its own (the trial's only stand-in); tests run
it inside their own event loop. It holds state in one `World`, refuses what Slack refuses, and fails loudly for
whatever it does not serve: an unserved method or argument answers 501 and is kept in `World.failures`, which
every test checks at its end. It imports nothing of the product.

Where its behaviour comes from. Nobody has compared it with a live workspace; it is built from
  - the public documentation of the Web API, Block Kit, interactivity and Socket Mode: names and shapes of all
    payloads, error words (`not_in_channel`, `exchanged_trigger_id`, …), trigger age (3 s, once), the 3 s rule,
    three deliveries of an event, signatures, `hello`, `disconnect`, several connections sharing the payloads;
  - the limits table of the package `slackblocks` (text, option, button and view lengths; a test compares);
  - public issue threads: the undocumented total of about 13,200 characters of blocks in a message, and what a
    click from another organisation carries (`user.team_id` differs from `team.id`).
Its own choices, where the documentation is silent: an unacknowledged Socket Mode envelope of any type is sent
again once on another connection; a timed-out click is shown to the person as `operation_timeout`; message and
view ids are counted up.
"""
