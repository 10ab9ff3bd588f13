/** What somebody typed into a page that is built anew, and what is unfolded there. */

const fieldsOf = (form) => [...form.elements].filter(({ name, type }) => name && type !== "file");
/** Dialogs go with their page. */
const partsOf = (root, tag) => [...root.querySelectorAll(tag)].filter((part) => !part.closest("dialog"));

/**
 * Reads what is in the forms of a page.
 * @param {HTMLElement} root
 * @returns {(other: HTMLElement) => void} puts it into another page of the same forms.
 */
export function typedIn(root) {
  const open = partsOf(root, "details").map((details) => details.open);
  const typed = partsOf(root, "form").map((form) => fieldsOf(form).map(({ name, value, checked }) => ({ name, value, checked })));
  return (other) => {
    for (const [at, details] of partsOf(other, "details").entries()) details.open = open[at] ?? false;
    for (const [at, form] of partsOf(other, "form").entries()) {
      for (const { name, value, checked } of typed[at] ?? []) {
        const field = fieldsOf(form).find((one) => one.name === name);
        if (!field || (field.value === value && field.checked === checked)) continue;
        Object.assign(field, { value, checked });
        field.dispatchEvent(new Event("input", { bubbles: true })); // it is checked as if it were typed
      }
    }
  };
}
