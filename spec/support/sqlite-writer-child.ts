import { CompiledQuery } from 'kysely';
import { openDatabase } from '../../lib/database/database.js';

/** Writes a number after the other into the database that it is given, and tells each that is written. */
const database = await openDatabase<{ things: { number: number } }>({
  driver: 'sqlite3',
  connectionString: process.argv[2]!,
});
await database.transact([CompiledQuery.raw('CREATE TABLE things (number INT)')]);
for (let number = 1; ; number += 1) {
  await database.transact([database.kysely.insertInto('things').values({ number }).compile()]);
  process.stdout.write(`${number}\n`);
}
