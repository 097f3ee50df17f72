import type { Redis } from 'ioredis';

/**
 * What every script is called with: KEYS are the epoch, the quarantine and the last token; ARGV begins with the
 * prefix and the caller's epoch. Keys of resources follow from the prefix, so all lie in one slot of a cluster.
 *
 * Answers begin with 1, or with -1 when the server is not the one that the caller has looked at.
 */
const head = `
local prefix, epoch = ARGV[1], ARGV[2]
if redis.call('GET', KEYS[1]) ~= epoch then return {-1} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expiries = {lock = prefix .. 'z:lock', presence = prefix .. 'z:presence'}
`;

/**
 * ARGV: key, owner, value, type, ttl in milliseconds, new id.
 * Answers {1, token, index, 1 if granted anew, type of an expired one that nobody had counted}, or {0, owner}: a
 * collision. In quarantine nobody gets a key anew: {0, ''}.
 */
const acquire = `${head}
local key, owner, value, type, ttl, id = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local resource = prefix .. 'r:' .. key
local holder = redis.call('HGET', resource, 'owner')
if holder and holder ~= owner then return {0, holder} end
local expired, granted = '', 0
if not holder then
  if redis.call('EXISTS', KEYS[2]) == 1 then return {0, ''} end
  for kind, set in pairs(expiries) do
    if redis.call('ZREM', set, key) == 1 then expired = kind end
  end
  granted = 1
  local last = tonumber(redis.call('GET', KEYS[3]) or '0')
  local token = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
  redis.call('SET', KEYS[3], token)
  redis.call('HSET', resource, 'id', id, 'index', 0, 'token', token)
end
redis.call('HSET', resource, 'owner', owner, 'value', value, 'type', type, 'ttl', ttl)
local index = redis.call('HINCRBY', resource, 'index', 1)
redis.call('PEXPIRE', resource, ttl)
for kind, set in pairs(expiries) do
  if kind == type then redis.call('ZADD', set, now + ttl, key) else redis.call('ZREM', set, key) end
end
return {1, redis.call('HGET', resource, 'token'), index, granted, expired}
`;

/** ARGV: key, owner. Answers {1}, or {0, owner}: a collision. */
const release = `${head}
local key, owner = ARGV[3], ARGV[4]
local resource = prefix .. 'r:' .. key
local holder = redis.call('HGET', resource, 'owner')
if holder and holder ~= owner then return {0, holder} end
if holder then
  redis.call('DEL', resource)
  for _, set in pairs(expiries) do redis.call('ZREM', set, key) end
end
return {1}
`;

/** ARGV: key. Answers {1}, or {1, owner, value, type}. */
const fetch = `${head}
local fields = redis.call('HMGET', prefix .. 'r:' .. ARGV[3], 'owner', 'value', 'type')
if not fields[1] then return {1} end
return {1, fields[1], fields[2], fields[3]}
`;

/** ARGV: type. Answers {1, key, owner, value, key, owner, value ...}. */
const list = `${head}
local found = {1}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', expiries[ARGV[3]], '(' .. now, '+inf')) do
  local fields = redis.call('HMGET', prefix .. 'r:' .. key, 'owner', 'value')
  if fields[1] then
    found[#found + 1] = key
    found[#found + 1] = fields[1]
    found[#found + 1] = fields[2]
  end
end
return found
`;

/** ARGV: type. Answers {1, number}. */
const count = `${head}
return {1, redis.call('ZCOUNT', expiries[ARGV[3]], '(' .. now, '+inf')}
`;

/** Takes expired keys out of the lists; who is told one, counts it. Answers {1, type, key, type, key ...}. */
const sweep = `${head}
local swept = {1}
for kind, set in pairs(expiries) do
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, 500)) do
    if redis.call('EXISTS', prefix .. 'r:' .. key) == 0 and redis.call('ZREM', set, key) == 1 then
      swept[#swept + 1] = kind
      swept[#swept + 1] = key
    end
  end
end
return swept
`;

/**
 * Looks at the server on behalf of who has come to it. One that is not the server of before may lack the last grants,
 * so that for some time nobody gets a key anew. ARGV: prefix, epoch, quarantine in milliseconds.
 * Answers {1, 1 if there is a quarantine}.
 */
const enter = `
if redis.call('GET', KEYS[1]) ~= ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[2])
  if tonumber(ARGV[3]) > 0 then redis.call('SET', KEYS[2], 1, 'PX', ARGV[3]) end
end
return {1, redis.call('EXISTS', KEYS[2])}
`;

export const lockScripts = { acquire, release, fetch, list, count, sweep, enter } as const;

export type LockScript = keyof typeof lockScripts;

/** How many keys each script is called with. */
export const scriptKeys = 3;

/** A connection that knows the scripts, as ioredis defines them. */
export type ScriptedRedis = Redis & {
  [Name in `locks_${LockScript}`]: (...args: (string | number)[]) => Promise<unknown[]>;
};

/** Teaches a connection the scripts; Redis gets each one when it is first used. */
export function withLockScripts(redis: Redis): ScriptedRedis {
  for (const [name, lua] of Object.entries(lockScripts)) {
    redis.defineCommand(`locks_${name}`, { numberOfKeys: scriptKeys, lua: lua.trim() });
  }
  return redis as ScriptedRedis;
}
