/**
 * A program that holds an engine and does what its parent asks for over IPC; made to be killed by specs.
 * Its one argument is the engine's settings as JSON. It says `{ ready: true }` once the engine is started.
 */
import type { ContainerEngine, ContainerSpec, ProcessSpec } from '../../lib/containers/engine.js';
import { createOciEngine } from '../../lib/containers/oci/oci-engine.js';
import { silentLogger } from '../../lib/logging/logger.js';
import type { OciSettings } from './oci.js';

/** What the parent may ask for. */
export type EngineOrder =
  | { verb: 'create'; spec: ContainerSpec }
  | { verb: 'destroy'; handle: string }
  | { verb: 'run'; handle: string; spec: ProcessSpec; stdin?: string }
  | { verb: 'netIn'; handle: string }
  | { verb: 'setProperty'; handle: string; name: string; value: string };

export interface EngineRequest {
  number: number;
  order: EngineOrder;
}

export type EngineAnswer = { number: number; result: unknown } | { number: number; error: string };

const settings: OciSettings = JSON.parse(process.argv[2] ?? '{}');
const engine = createOciEngine({ ...settings, logger: silentLogger });

async function obey(order: EngineOrder): Promise<unknown> {
  if (order.verb === 'create') return (await engine.create(order.spec)).handle;
  if (order.verb === 'destroy') return engine.destroy(order.handle);
  const container = await (engine as ContainerEngine).lookup(order.handle);
  switch (order.verb) {
    case 'run':
      return (await container.run(order.spec, order.stdin === undefined ? {} : { stdin: order.stdin })).id;
    case 'netIn':
      return container.netIn();
    case 'setProperty':
      return container.setProperty(order.name, order.value);
  }
}

process.on('message', ({ number, order }: EngineRequest) => {
  obey(order).then(
    (result) => process.send?.({ number, result: result ?? null }),
    (error: Error) => process.send?.({ number, error: error.message }),
  );
});
process.on('disconnect', () => process.exit(1));

await engine.start();
process.send?.({ ready: true });
