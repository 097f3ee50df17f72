import type { Logger } from '../../../logging/logger.js';
import type { Database } from './database.js';
import { ForeignValueError, WrongTypeError } from './errors.js';
import { patternOf, typeOf } from './keys.js';
import { quarantineKey, quarantineValue } from './scripts.js';

/** Values that are kept to be looked at. */
const keptValues = 1000;

/**
 * Puts aside what cannot be read: it must neither stop all work for ever nor look like an app that is missing. The
 * operation that met it fails; the next one does not find it, and finds the state not fresh where it was part of it.
 */
export class Quarantine {
  constructor(
    private readonly database: Database,
    private readonly logger: Logger,
  ) {}

  /** @throws what the operation throws, after what is behind it was put aside */
  async guard<Result>(operation: () => Promise<Result>): Promise<Result> {
    try {
      return await operation();
    } catch (error) {
      if (error instanceof ForeignValueError) await this.#putValueAside(error);
      if (error instanceof WrongTypeError) await this.#putKeysAside();
      throw error;
    }
  }

  async #putValueAside({ key, field, value }: ForeignValueError): Promise<void> {
    this.logger.error('hm9000.store.quarantined-value', { key: this.database.key(key), field, value });
    await this.database.run(quarantineValue, [key, field, value, keptValues]);
  }

  /** Redis does not say which key it was. */
  async #putKeysAside(): Promise<void> {
    const { prefix, connection } = this.database;
    for await (const keys of this.database.keys(patternOf(prefix))) {
      const names = keys.map((key) => key.slice(prefix.length)).filter((name) => typeOf(name) !== undefined);
      await connection.each(names, async (name) => {
        const found = await connection.commands.type(`${prefix}${name}`);
        if (found === typeOf(name)) return;
        this.logger.error('hm9000.store.quarantined-key', { key: `${prefix}${name}`, type: found });
        await this.database.run(quarantineKey, [name, typeOf(name)!]);
      });
    }
  }
}
