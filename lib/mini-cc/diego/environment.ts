import { type MessageContext, vcapApplication, vcapServices } from '../agents/app-messages.js';
import type { App } from '../apps/app.js';
import type { EnvironmentVariable } from './messages.js';

/** Schemes of services' addresses that make one a database, and what `DATABASE_URL` calls them. */
const databaseSchemes: Record<string, string> = {
  mysql: 'mysql2',
  mysql2: 'mysql2',
  postgres: 'postgres',
  postgresql: 'postgres',
};

/**
 * All variables of an app's processes, or of its staging: Diego's cells add only those of an instance
 * (docs/protocol/legacy-cc.md §9.1). Pure.
 *
 * @param group variables of all apps
 */
export function diegoEnvironment(
  app: App,
  group: Record<string, unknown>,
  context: MessageContext,
): EnvironmentVariable[] {
  const { uris: _uris, application_uris: _all, users: _users, ...application } = vcapApplication(app, context);
  const database = databaseUrl(app);
  const variables: Record<string, unknown> = {
    ...group,
    VCAP_APPLICATION: application,
    VCAP_SERVICES: vcapServices(app),
    MEMORY_LIMIT: `${app.memory}m`,
    CF_STACK: app.stack,
    ...app.env,
    ...(database !== undefined && { DATABASE_URL: database }),
  };
  return Object.entries(variables).map(([name, value]) => ({ name, value: text(value) }));
}

/** The address of the first service that is a database. */
function databaseUrl({ services }: App): string | undefined {
  for (const { credentials } of services) {
    const { uri } = credentials;
    if (typeof uri !== 'string') continue;
    const [scheme = ''] = uri.split(':', 1);
    const name = databaseSchemes[scheme];
    if (name !== undefined) return name + uri.slice(scheme.length);
  }
  return undefined;
}

function text(value: unknown): string {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
}
