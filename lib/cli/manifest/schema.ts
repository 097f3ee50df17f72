import { z } from 'zod';
import { parseCount, parseMegabytes } from '../quantities.js';

/** `${name}`: a property, as old manifests had them; nothing is put in its place. */
const property = /\$\{[\w-]+\}/;

/** A text that nothing is filled into. Commands and values of variables may hold `${NAME}`: the shell fills that in. */
const text = z
  .string()
  .min(1, 'must not be empty')
  .refine((value) => !property.test(value), {
    error: ({ input }) => `properties such as ${property.exec(String(input))?.[0]} are not supported`,
  });

const hostPattern = /^(\*|[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)$/i;
const domainPattern = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i;
const routePattern = /^[a-z0-9*_]([a-z0-9._-]*[a-z0-9])?(\/[^\s?#]*)?$/i;

const host = text.regex(hostPattern, 'must be one part of a host name').transform((value) => value.toLowerCase());
const domain = text.regex(domainPattern, 'must be the name of a domain').transform((value) => value.toLowerCase());

const route = text.superRefine((value, context) => {
  if (routePattern.test(value)) return;
  const problem = /:\d+(\/|$)/.test(value)
    ? 'TCP routes are not supported'
    : 'must be host.domain[/path], without http://';
  context.addIssue({ code: 'custom', message: problem });
});

const megabytes = z
  .union([z.string(), z.number()], 'must be an amount such as 256M or 1G')
  .transform(quantity(parseMegabytes));
const count = z.union([z.string(), z.number()], 'must be a whole number').transform(quantity(parseCount));

/** Null, `default` and `null` go back to what the buildpack says. */
const resettable = z
  .string()
  .nullable()
  .transform((value) => (value === null || value === 'default' || value === 'null' ? null : value));

const healthCheckType = z
  .enum(['port', 'none', 'process', 'http'], 'must be port, process or none')
  .transform((type, context) => {
    if (type === 'port') return type;
    if (type !== 'http') return 'none';
    context.addIssue({ code: 'custom', message: 'health checks over HTTP are not supported; use port' });
    return z.NEVER;
  });

/** What YAML takes for a number or a truth value was meant as text. */
const variables = z.record(
  z.string().regex(/^[A-Za-z_]\w*$/, 'must be a name of a variable'),
  z.union([z.string(), z.number(), z.boolean()], 'must be text, a number, true or false').transform(String),
);

const list = <Item extends z.ZodType>(item: Item) => z.preprocess((value) => value ?? [], z.array(item));

/** What the top of a manifest and each of its applications may say alike. */
const propertiesShape = {
  buildpack: resettable,
  buildpacks: list(text).refine((names) => names.length <= 1, 'more than one buildpack is not supported'),
  command: resettable,
  disk_quota: megabytes,
  'disk-quota': megabytes,
  docker: z.undefined('Docker images are not supported'),
  domain,
  domains: list(domain),
  env: z.preprocess((value) => value ?? {}, variables),
  'health-check-type': healthCheckType,
  host,
  hosts: list(host),
  instances: count,
  memory: megabytes,
  'no-hostname': z.boolean(),
  'no-route': z.boolean(),
  path: text,
  'random-route': z.boolean(),
  routes: list(z.object({ route })),
  services: list(text),
  stack: text,
  timeout: count.refine((seconds) => seconds > 0, 'must be more than 0'),
};

const propertiesSchema = z.object(propertiesShape).partial();

/** One application of a manifest. */
export const applicationSchema = propertiesSchema.extend({ name: text.optional() });

/** A whole manifest file. */
export const manifestSchema = propertiesSchema.extend({
  inherit: text.optional(),
  applications: list(applicationSchema),
});

/** What applies to one application, or to all of a file. MB, seconds. */
export type ManifestProperties = z.output<typeof propertiesSchema>;
export type ManifestApplication = z.output<typeof applicationSchema>;
export type ManifestDocument = z.output<typeof manifestSchema>;

/** Reads a value with a parser of the command line, whose refusals become those of the field. */
function quantity(parse: (value: string) => number) {
  return (value: string | number, context: z.RefinementCtx): number => {
    try {
      return parse(String(value));
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  };
}
