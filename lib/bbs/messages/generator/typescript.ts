import type { EnumSchema, FieldSchema, MessageSchema, ScalarType, Schema } from './schema.js';

/** What one scalar type is in TypeScript; reader and writer have a method of its name. */
const scalars: Record<ScalarType, { type: string; zero: string; wireType: number }> = {
  string: { type: 'string', zero: "''", wireType: 2 },
  bytes: { type: 'Buffer', zero: 'Buffer.alloc(0)', wireType: 2 },
  bool: { type: 'boolean', zero: 'false', wireType: 0 },
  int32: { type: 'number', zero: '0', wireType: 0 },
  uint32: { type: 'number', zero: '0', wireType: 0 },
  int64: { type: 'bigint', zero: '0n', wireType: 0 },
  uint64: { type: 'bigint', zero: '0n', wireType: 0 },
};

/** The module that holds types and code of all messages. */
export function printModule({ enums, messages }: Schema): string {
  const head = [
    '// Generated from the .proto files beside it (npm run messages); changes here are lost.',
    "import type { MessageType } from './message-type.js';",
  ];
  return `${[...head, ...enums.map(printEnum), ...messages.map(printMessage)].join('\n\n')}\n`;
}

function printEnum({ name, values }: EnumSchema): string {
  const members = Object.entries(values).map(([member, number]) => `  ${member}: ${number},`);
  return [
    `export const ${name} = {`,
    ...members,
    '} as const;',
    '/** A peer may send a number that has no name. */',
    `export type ${name} = (typeof ${name})[keyof typeof ${name}];`,
  ].join('\n');
}

function printMessage(message: MessageSchema): string {
  return [printInterface(message), printType(message)].join('\n\n');
}

function printInterface({ name, isDeprecated, fields }: MessageSchema): string {
  return [
    ...(isDeprecated ? ['/** @deprecated */'] : []),
    `export interface ${name} {`,
    ...fields.flatMap((field) => [
      ...(field.isDeprecated ? ['  /** @deprecated */'] : []),
      `  readonly ${field.property}: ${propertyType(field)};`,
    ]),
    '}',
  ].join('\n');
}

function printType(message: MessageSchema): string {
  const { name, isRawJsonMap, fields } = message;
  return [
    `export const ${name}: MessageType<${name}> = {`,
    `  name: '${name}',`,
    `  isRawJsonMap: ${isRawJsonMap},`,
    '  create(fields) {',
    '    return {',
    ...fields.map((field) => `      ${field.property}: ${zero(field)},`),
    '      ...fields,',
    '    };',
    '  },',
    ...printWrite(message),
    ...printRead(message),
    '  fields: [',
    ...fields.map((field) => `    ${fieldShape(field)},`),
    '  ],',
    '};',
  ].join('\n');
}

function printWrite({ fields }: MessageSchema): string[] {
  if (fields.length === 0) return ['  write() {},'];
  const lastFirst = [...fields].sort((a, b) => b.number - a.number);
  return ['  write(message, writer) {', ...lastFirst.map((field) => `    ${writeStatement(field)}`), '  },'];
}

function writeStatement(field: FieldSchema): string {
  const value = `message.${field.property}`;
  const tag = tagOf(field);
  if (field.cardinality === 'map') {
    if (field.value.kind === 'message') return `writer.messageMap(${tag}, ${value}, ${field.value.name});`;
    return `writer.${scalarType(field)}Map(${tag}, ${value});`;
  }
  if (field.cardinality === 'list') {
    const element = `${value}[i]!`;
    return `for (let i = ${value}.length - 1; i >= 0; i -= 1) ${writeValue(field, element)}`;
  }
  if (field.value.kind === 'message' && !field.isOptional) return writeValue(field, value);
  const condition = field.isOptional ? `${value} !== undefined` : isNotZero(field, value);
  return `if (${condition}) ${writeValue(field, value)}`;
}

function writeValue(field: FieldSchema, value: string): string {
  if (field.value.kind === 'message') return `writer.message(${tagOf(field)}, ${field.value.name}, ${value});`;
  return `{ writer.${scalarType(field)}(${value}); writer.tag(${tagOf(field)}); }`;
}

function isNotZero(field: FieldSchema, value: string): string {
  if (field.value.kind === 'scalar' && field.value.type === 'bytes') return `${value}.length > 0`;
  if (field.value.kind === 'scalar' && field.value.type === 'bool') return value;
  return `${value} !== ${zero(field)}`;
}

function printRead({ name, fields }: MessageSchema): string[] {
  return [
    '  read(reader) {',
    ...fields.map((field) => `    ${declaration(field)}`),
    '    while (!reader.isAtEnd()) {',
    '      const tag = reader.tag();',
    '      switch (tag) {',
    ...fields.flatMap(readCases).map((line) => `        ${line}`),
    '        default: reader.skip(tag);',
    '      }',
    '    }',
    `    return { ${fields.map(assignment).join(', ')} };`,
    '  },',
  ].map((line) => line.replace('return {  };', `return {} satisfies ${name};`));
}

/** An absent message that Go always writes is made only when it turns out to be absent. */
function isMadeLate(field: FieldSchema): boolean {
  return field.cardinality === 'one' && field.value.kind === 'message' && !field.isOptional;
}

function declaration(field: FieldSchema): string {
  if (field.cardinality === 'list') return `const ${local(field)}: ${valueType(field)}[] = [];`;
  if (field.cardinality === 'map') return `const ${local(field)} = new Map<string, ${valueType(field)}>();`;
  if (isMadeLate(field)) return `let ${local(field)}: ${valueType(field)} | undefined;`;
  return `let ${local(field)}: ${propertyType(field)} = ${zero(field)};`;
}

function assignment(field: FieldSchema): string {
  if (!isMadeLate(field)) return `${field.property}: ${local(field)}`;
  return `${field.property}: ${local(field)} ?? ${zero(field)}`;
}

/** Field names such as `from` or `type` are no good names for variables, and `tag` is taken. */
function local(field: FieldSchema): string {
  return `${field.property}_`;
}

function readCases(field: FieldSchema): string[] {
  const target = local(field);
  const tag = tagOf(field);
  if (field.cardinality === 'map') {
    if (field.value.kind === 'message') {
      return [`case ${tag}: reader.messageEntry(${target}, ${field.value.name}); break;`];
    }
    return [`case ${tag}: reader.${scalarType(field)}Entry(${target}); break;`];
  }
  if (field.cardinality === 'one') return [`case ${tag}: ${target} = ${readValue(field)}; break;`];
  const cases = [`case ${tag}: ${target}.push(${readValue(field)}); break;`];
  if (field.value.kind === 'scalar' && field.value.type === 'uint32') {
    cases.push(`case ${(field.number << 3) | 2}: reader.packedUint32(${target}); break;`);
  }
  return cases;
}

function readValue(field: FieldSchema): string {
  if (field.value.kind === 'message') return `reader.message(${field.value.name})`;
  if (field.value.kind === 'enum') return `reader.int32() as ${field.value.type.name}`;
  return `reader.${field.value.type}()`;
}

function fieldShape(field: FieldSchema): string {
  const parts = [
    `property: '${field.property}'`,
    `key: '${field.jsonKey}'`,
    `isLeftOutWhenEmpty: ${field.isLeftOutWhenEmpty}`,
    `isInlined: ${field.isInlined}`,
    ...(field.wrapper === undefined ? [] : [`wrapper: '${field.wrapper}'`]),
    `isOptional: ${field.isOptional}`,
    `cardinality: '${field.cardinality}'`,
    `value: ${valueShape(field)}`,
  ];
  return `{ ${parts.join(', ')} }`;
}

function valueShape({ value }: FieldSchema): string {
  if (value.kind === 'message') return `{ kind: 'message', shape: () => ${value.name} }`;
  if (value.kind === 'scalar') return `{ kind: '${value.type}' }`;
  return `{ kind: 'enum', names: ${value.type.name}, isNumberInJson: ${value.type.isNumberInJson} }`;
}

function propertyType(field: FieldSchema): string {
  if (field.cardinality === 'list') return `readonly ${valueType(field)}[]`;
  if (field.cardinality === 'map') return `ReadonlyMap<string, ${valueType(field)}>`;
  return field.isOptional ? `${valueType(field)} | undefined` : valueType(field);
}

function valueType({ value }: FieldSchema): string {
  if (value.kind === 'scalar') return scalars[value.type].type;
  return value.kind === 'enum' ? value.type.name : value.name;
}

function zero(field: FieldSchema): string {
  if (field.cardinality === 'list') return '[]';
  if (field.cardinality === 'map') return 'new Map()';
  if (field.isOptional) return 'undefined';
  if (field.value.kind === 'message') return `${field.value.name}.create()`;
  return field.value.kind === 'enum' ? '0' : scalars[field.value.type].zero;
}

/** Enumerations travel as int32. */
function scalarType({ value }: FieldSchema): string {
  return value.kind === 'scalar' ? value.type : 'int32';
}

function tagOf(field: FieldSchema): number {
  const isVarint =
    field.cardinality !== 'map' &&
    (field.value.kind === 'enum' || (field.value.kind === 'scalar' && scalars[field.value.type].wireType === 0));
  return (field.number << 3) | (isVarint ? 0 : 2);
}
