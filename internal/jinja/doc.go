// Package jinja renders chat templates: the part of the Jinja language that
// models' templates are written in, with the meaning that Jinja2 gives it in
// the environment of the transformers library (trim_blocks and lstrip_blocks
// on, values immutable, no escaping).
//
// Tags: for, if, set, macro, break, continue, raw and generation, which only
// groups here. Tags that load other templates do not exist, so a template
// cannot read files; nor is there a way to the environment, the network or a
// clock. Everything that is not implemented is an error that names it and its
// line when the template is parsed, or when it is used.
//
// A template is a program out of a downloaded file, so a rendering is bounded:
// in steps, in bytes made and in nesting, see [Limits]. The same template and
// values need the same on every machine.
//
// Differences from Jinja2: integers have 64 bits; upper and lower map single
// characters (ß stays ß); strings cannot be formatted with %.
//
// Language: https://jinja.palletsprojects.com/en/stable/templates/
package jinja
