import type { Redis } from 'ioredis';

/** What is asked of a Redis before it is trusted with locks. */
export interface RedisServerInfo {
  /** Another one after each start of the server. */
  readonly runId: string;
  readonly role: string;
  /** What it does when its memory is full. */
  readonly evictionPolicy: string;
}

/** @throws when the server does not say */
export async function readServer(redis: Pick<Redis, 'info'>): Promise<RedisServerInfo> {
  const [server, memory, replication] = await Promise.all([
    redis.info('server'),
    redis.info('memory'),
    redis.info('replication'),
  ]);
  return {
    runId: field(server, 'run_id'),
    role: field(replication, 'role'),
    evictionPolicy: field(memory, 'maxmemory_policy'),
  };
}

/** What keeps a server from holding locks; undefined when nothing does (docs/protocol/edge.md §8.3). */
export function unfitness({ role, evictionPolicy }: RedisServerInfo): string | undefined {
  if (role !== 'master') return `it is a ${role}, and locks need the primary`;
  if (evictionPolicy !== 'noeviction') return `its maxmemory-policy is ${evictionPolicy}, and must be noeviction`;
  return undefined;
}

function field(info: string, name: string): string {
  const line = info.split('\r\n').find((candidate) => candidate.startsWith(`${name}:`));
  if (line === undefined) throw new Error(`Redis does not tell its ${name}`);
  return line.slice(name.length + 1);
}
