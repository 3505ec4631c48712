// What kube-apiserver dials besides kubelets: a validating webhook and an aggregated API, in one static program for a pod.
//
//	backend NAME    serves HTTPS on :8443 with /tls/tls.crt and /tls/tls.key, and says NAME in everything
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"
)

// The fields of admission.k8s.io/v1 AdmissionReview that matter here.
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID    string `json:"uid"`
	Object struct {
		Data map[string]string `json:"data"`
	} `json:"object"`
}

type response struct {
	UID     string  `json:"uid"`
	Allowed bool    `json:"allowed"`
	Status  *status `json:"status,omitempty"`
}

type status struct {
	Message string `json:"message"`
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: backend NAME")
	}
	name := os.Args[1]
	http.HandleFunc("/validate", func(w http.ResponseWriter, r *http.Request) {
		var asked review
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Request == nil {
			http.Error(w, "no AdmissionReview", http.StatusBadRequest)
			return
		}
		_, deny := asked.Request.Object.Data["deny"]
		answer := response{UID: asked.Request.UID, Allowed: !deny}
		if deny {
			answer.Status = &status{Message: "denied by " + name}
		}
		reply(w, review{APIVersion: asked.APIVersion, Kind: asked.Kind, Response: &answer})
	})
	http.HandleFunc("/apis/", func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		if len(parts) < 4 {
			// Discovery: the aggregator asks whether the version is there.
			reply(w, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": strings.Join(parts[1:], "/"), "resources": []any{}})
			return
		}
		reply(w, map[string]string{"hello": "from " + name})
	})
	log.Fatal(http.ListenAndServeTLS(":8443", "/tls/tls.crt", "/tls/tls.key", nil))
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Print(err)
	}
}
