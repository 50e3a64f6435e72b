-- relayed: drops messages from the outbox that their queues have accepted.
-- Flags: allow-oom
-- Moves: none
-- KEYS: outbox
-- ARGV: then fields
-- Returns: {messages left}
for i = REST + 1, #ARGV do redis.call('HDEL', key_outbox, ARGV[i]) end
return {redis.call('HLEN', key_outbox)}
