// Package docs holds the code of the tutorials in this folder, as tests that
// run, and the check that every code block of a tutorial stands in one of them.
package docs
