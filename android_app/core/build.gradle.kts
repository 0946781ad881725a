plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    compileOnly(libs.json) // Android's own at run time
    testImplementation(libs.json)
    testImplementation(libs.junit)
}

tasks.test {
    // The real library and a real package, as in tools/test app; tests that need what is not named here are skipped.
    for (name in listOf("flashneuron.jni", "flashneuron.package", "flashneuron.reference")) {
        providers.gradleProperty(name).orNull?.let { systemProperty(name, it) }
    }
}
