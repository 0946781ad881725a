plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "io.flashneuron.app"
    compileSdk = 36
    ndkVersion = libs.versions.ndk.get()

    defaultConfig {
        applicationId = "io.flashneuron.app"
        minSdk = 29
        targetSdk = 36
        versionCode = 1
        versionName = "0.3.0"
        ndk {
            abiFilters += "arm64-v8a"
        }
        externalNativeBuild {
            cmake {
                targets += "flashneuron_jni"
                arguments += listOf("-DFLASHNEURON_TESTS=OFF", "-DANDROID_STL=c++_shared")
                arguments += listOfNotNull(
                    providers.gradleProperty("flashneuron.executorch").orNull
                        ?.let { "-Dexecutorch_DIR=$it/lib/cmake/ExecuTorch" },
                    providers.gradleProperty("flashneuron.dependencies").orNull?.let { "-DCMAKE_FIND_ROOT_PATH=$it" },
                )
            }
        }
    }
    externalNativeBuild {
        cmake {
            path = file("../../device_runtime/CMakeLists.txt")
            version = libs.versions.cmake.get()
        }
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    implementation(project(":core"))
}
