import type { Session } from '../session.js';

/** Prints what the app's processes find in their environment, by where it comes from. */
export async function env(session: Session, name: string): Promise<void> {
  const { guid } = await session.client.getApp(name);
  const environment = await session.client.environment(guid);
  const system = { ...environment.system_env_json, ...environment.application_env_json };
  section(session, 'From the system:', Object.entries(system).map(jsonLine));
  section(session, 'Of the app:', variables(environment.environment_json));
  section(session, 'Of all running apps:', variables(environment.running_env_json));
  section(session, 'Of all stagings:', variables(environment.staging_env_json));
}

/** Sets a variable of the app. */
export async function setEnv(session: Session, name: string, variable: string, value: string): Promise<void> {
  const { guid, env: before } = await session.client.getApp(name);
  await session.client.updateApp(guid, { env: { ...before, [variable]: value } });
  session.line(`${variable} is set; it takes effect with: isthmus restage ${name}`);
}

/** Takes a variable of the app away. */
export async function unsetEnv(session: Session, name: string, variable: string): Promise<void> {
  const { guid, env: before } = await session.client.getApp(name);
  if (!Object.hasOwn(before, variable)) return session.line(`${variable} was not set`);
  const { [variable]: _gone, ...rest } = before;
  await session.client.updateApp(guid, { env: rest });
  session.line(`${variable} is not set any more; that takes effect with: isthmus restage ${name}`);
}

function section(session: Session, title: string, lines: string[]): void {
  session.line(title);
  for (const line of lines.length > 0 ? lines : ['(none)']) session.line(`  ${line}`);
}

function variables(values: Record<string, unknown>): string[] {
  return Object.entries(values).map(
    ([name, value]) => `${name}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`,
  );
}

function jsonLine([name, value]: [string, unknown]): string {
  return `${name}: ${JSON.stringify(value, null, 2).replaceAll('\n', '\n  ')}`;
}
