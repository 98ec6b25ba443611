// The server's errors about inputs of a provider's model, by field: at their controls, and as one sentence.

/** The name of the input in `input.<name>` or `input.<name>.<index>`. */
export const nameIn = (field) => field.split(".")[1];

export function markFields(fields, errors) {
  for (const field of fields) {
    field.mark(errors.filter((one) => nameIn(one.field) === field.name).map(({ message }) => message).join("; "));
  }
}

/** With the titles of the fields; null when no error is about the model or one of its inputs. */
export function sentenceOf(errors, fields) {
  const own = errors.filter(({ field }) => field === "model" || /^(input|settings)\./.test(field));
  return own.length ? own.map(({ field, message }) => `${titleOf(field, fields)} ${message}`).join("; ") : null;
}

function titleOf(path, fields) {
  const name = nameIn(path) ?? path;
  return fields.find((field) => field.name === name)?.title ?? `${name[0].toUpperCase()}${name.slice(1).replaceAll("_", " ")}`;
}
