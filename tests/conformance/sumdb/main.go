// Answers questions about notes, trees and proofs with golang.org/x/mod/sumdb, one JSON object a line in, one a line out.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Op        string
	Note      []byte
	Keys      []string
	SecretKey string
	Text      string
	Proof     [][]byte
	Size      int64
	Root      []byte
	Old       int64
	OldRoot   []byte
	Index     int64
	Leaf      []byte
}

type answer struct {
	Error      string
	Text       string
	Verified   []string
	Unverified []string
	Note       []byte
}

var errHash = errors.New("a hash is not 32 bytes")

func hash(value []byte) (h tlog.Hash, err error) {
	if len(value) != tlog.HashSize {
		return h, errHash
	}
	copy(h[:], value)
	return h, nil
}

func hashes(values [][]byte) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, 0, len(values))
	for _, value := range values {
		h, err := hash(value)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

func open(q question, a *answer) error {
	var verifiers []note.Verifier
	for _, key := range q.Keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return err
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(q.Note, note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	a.Text = opened.Text
	for _, signature := range opened.Sigs {
		a.Verified = append(a.Verified, signature.Name)
	}
	for _, signature := range opened.UnverifiedSigs {
		a.Unverified = append(a.Unverified, signature.Name)
	}
	return nil
}

func sign(q question, a *answer) error {
	signer, err := note.NewSigner(q.SecretKey)
	if err != nil {
		return err
	}
	a.Note, err = note.Sign(&note.Note{Text: q.Text}, signer)
	return err
}

func check(q question) error {
	proof, err := hashes(q.Proof)
	if err != nil {
		return err
	}
	root, err := hash(q.Root)
	if err != nil {
		return err
	}
	if q.Op == "record" {
		leaf, err := hash(q.Leaf)
		if err != nil {
			return err
		}
		return tlog.CheckRecord(proof, q.Size, root, q.Index, leaf)
	}
	old, err := hash(q.OldRoot)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, q.Size, root, q.Old, old)
}

func main() {
	in := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20))
	buffered := bufio.NewWriterSize(os.Stdout, 1<<20)
	out := json.NewEncoder(buffered)
	for {
		var q question
		if in.Decode(&q) != nil {
			buffered.Flush()
			return
		}
		var a answer
		var err error
		switch q.Op {
		case "open":
			err = open(q, &a)
		case "sign":
			err = sign(q, &a)
		case "record", "tree":
			err = check(q)
		case "flush":
		default:
			err = errors.New("no such operation")
		}
		if err != nil {
			a.Error = err.Error()
		}
		out.Encode(a)
		if q.Op == "flush" {
			buffered.Flush()
		}
	}
}
