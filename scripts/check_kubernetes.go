// For check-deploy.sh: manifests past Kubernetes' own code, as its API server reads them: decoded
// strictly (an unknown field is an error), completed with defaults, validated.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	scheme "k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsrules "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corerules "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingrules "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyrules "k8s.io/kubernetes/pkg/apis/policy/validation"
)

func main() {
	wrong := 0
	for _, name := range os.Args[1:] {
		file, err := os.Open(name)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for documents := yaml.NewYAMLReader(bufio.NewReader(file)); ; {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			for _, problem := range check(document) {
				fmt.Printf("%s: %s\n", name, problem)
				wrong++
			}
		}
	}
	if wrong > 0 {
		os.Exit(1)
	}
}

func check(document []byte) []string {
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	object, kind, err := strict.Decode(document, nil, nil)
	if err != nil {
		return []string{err.Error()}
	}
	scheme.Scheme.Default(object)
	found, err := validate(object)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, problem := range found {
		problems = append(problems, kind.Kind+": "+problem.Error())
	}
	return problems
}

// The rules are written for the internal types.
func validate(object runtime.Object) (field.ErrorList, error) {
	into := func(internal runtime.Object) error { return scheme.Scheme.Convert(object, internal, nil) }
	switch given := object.(type) {
	case *appsv1.StatefulSet:
		given.Namespace = "default"
		set := &apps.StatefulSet{}
		err := into(set)
		return appsrules.ValidateStatefulSet(set, appsrules.StatefulSetValidationOptions{}, corerules.PodValidationOptions{}), err
	case *corev1.Service:
		given.Namespace = "default"
		// As the API server does before it validates.
		if given.Spec.ClusterIP != "" {
			given.Spec.ClusterIPs = []string{given.Spec.ClusterIP}
		}
		service := &core.Service{}
		err := into(service)
		return corerules.ValidateServiceCreate(service), err
	case *corev1.ConfigMap:
		given.Namespace = "default"
		config := &core.ConfigMap{}
		err := into(config)
		return corerules.ValidateConfigMap(config), err
	case *policyv1.PodDisruptionBudget:
		given.Namespace = "default"
		budget := &policy.PodDisruptionBudget{}
		err := into(budget)
		return policyrules.ValidatePodDisruptionBudget(budget, policyrules.PodDisruptionBudgetValidationOptions{}), err
	case *networkingv1.NetworkPolicy:
		given.Namespace = "default"
		network := &networking.NetworkPolicy{}
		err := into(network)
		return networkingrules.ValidateNetworkPolicy(network, networkingrules.NetworkPolicyValidationOptions{}), err
	default:
		return nil, fmt.Errorf("no rules here for %T: add them", object)
	}
}
