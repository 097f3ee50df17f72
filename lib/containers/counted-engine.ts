import type { Container, ContainerEngine } from './engine.js';

/** Told after each call: the method's name, how long it took in seconds, and whether it went well. */
export type CallListener = (method: string, seconds: number, isOk: boolean) => void;

/** Calls that begin and end the engine itself are no work for anybody. */
const engineMethods = ['create', 'list', 'lookup', 'destroy', 'capacity', 'bulkInfo', 'bulkMetrics'] as const;
const containerMethods = [
  ...(['run', 'attach', 'streamIn', 'streamOut', 'netIn', 'netOut', 'limit', 'limits', 'info', 'metrics'] as const),
  ...(['properties', 'setProperty', 'removeProperty', 'setGraceTime', 'stop'] as const),
];

/** The same engine, with each of its calls, and of its containers', told to a listener when it is over. */
export function countedEngine(engine: ContainerEngine, listener: CallListener): ContainerEngine {
  const wrap = (container: Container): Container => counted(container, containerMethods, listener);
  return counted(engine, engineMethods, listener, (result) => {
    if (Array.isArray(result)) return result.map(wrap);
    return isContainer(result) ? wrap(result) : result;
  });
}

type AsyncMethod = (...args: unknown[]) => Promise<unknown>;

function counted<Target extends object>(
  target: Target,
  methods: readonly (keyof Target & string)[],
  listener: CallListener,
  convert: (result: unknown) => unknown = (result) => result,
): Target {
  const wrapped = new Map(
    methods.map((name) => {
      const method = target[name] as AsyncMethod;
      const timed: AsyncMethod = async (...args) => {
        const begun = performance.now();
        const tell = (isOk: boolean) => listener(name, (performance.now() - begun) / 1000, isOk);
        try {
          const result = await method.apply(target, args);
          tell(true);
          return convert(result);
        } catch (error) {
          tell(false);
          throw error;
        }
      };
      return [name as PropertyKey, timed] as const;
    }),
  );
  return new Proxy(target, {
    get(_target, name) {
      const own = wrapped.get(name);
      if (own) return own;
      const value: unknown = Reflect.get(target, name, target);
      // Private fields are the target's own, not the proxy's.
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null && 'handle' in value && 'run' in value;
}
